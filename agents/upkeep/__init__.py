"""What operators do to a deployment: erase, count, replay, repartition, simulate."""
