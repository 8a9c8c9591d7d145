"""Films as jobs: from a file to a file, in front of somebody, to be gone on with after whatever happens."""
