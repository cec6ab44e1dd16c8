"""What travels and what is stored: records, mapping, validation, JSON Schemas, state codec. Imports nothing of ours."""
