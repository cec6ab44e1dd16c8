"""The topics as others read of them: AsyncAPI."""
