"""What is kept of a sandbox after a grave finding, for whoever looks into it later.

    finding of HIGH or above -> response -> processes, events, changed files -> one JSON file -> audit event

All of it was made by a hostile program: every part is bounded, links are never followed, text is escaped.
"""
