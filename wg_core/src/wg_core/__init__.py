"""wg: a job queue for Python on the store you already run."""
