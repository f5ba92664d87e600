"""What a suite of tests gets beside its verdicts: rule coverage, evidence of failures, a summary."""
