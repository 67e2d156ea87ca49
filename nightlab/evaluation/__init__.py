"""Evaluation: metrics, the evaluator, multi-scale testing, intervals."""
