"""Three scanners of one contract: Trivy and Grype by their programs, and one that needs none."""
