"""What travels and what is stored: records, mapping, validation, JSON Schemas, state codec. Imports nothing of ours.

What all rooms need besides is here, too: errors, secrets, certificates, child processes.
"""
