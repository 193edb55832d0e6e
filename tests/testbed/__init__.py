"""Real parts on one machine: control plane, fake kubelet, hub; for tests, demo, smoke and benchmarks alike."""
