"""Faults of every kind, put to the real program: python -m tests.torture NAME [--count N]"""
