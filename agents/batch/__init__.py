"""Jobs over stored data, on Spark: the only room that imports pyspark."""
