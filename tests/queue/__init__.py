"""The chain, its supply, the drain, the writer and recovery."""
