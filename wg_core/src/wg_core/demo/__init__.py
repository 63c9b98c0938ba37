"""`wg demo`: real jobs on real files, with failures and a killed process, and a count that shows nothing was lost."""
