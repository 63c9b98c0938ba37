"""The command line `wg`."""
