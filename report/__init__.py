"""What test.py shows of a model's results: pictures and a page. Nothing else needs this folder."""
