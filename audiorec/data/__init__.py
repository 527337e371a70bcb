"""Data: Kaldi directories, cuts, batches."""
