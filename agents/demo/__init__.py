"""The demo: every real part on one machine, fed by simulated shoppers or a log, scored while one watches."""
