"""Where examples come from: files, package archives, installed libraries."""
