"""What the studies share: results on disk, engines, configuration, commands, progress."""
