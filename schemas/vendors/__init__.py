"""The shapes in which vendors write what shoppers do, as mappings; docs/mapping.md shows a record of each."""
