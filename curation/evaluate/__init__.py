"""Whether it helped: bits per byte, tasks, probes, what was forgotten."""
