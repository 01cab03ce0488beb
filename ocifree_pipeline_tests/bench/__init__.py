"""Benchmarks. They are run by `make bench`, never as tests: a busy machine must not make a build red."""
