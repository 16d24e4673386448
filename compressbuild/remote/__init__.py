"""The remote cache: results that machines share through an object store (docs/howto/shared-cache.md)."""
