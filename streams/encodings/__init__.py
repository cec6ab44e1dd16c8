"""Values that are Avro or Protobuf: by a schema registry, or by a schema file; loaded only where a setting asks."""
