"""Advisories in the OSV format (https://ossf.github.io/osv-schema/): imported, indexed, matched."""
