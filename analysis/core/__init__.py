"""What the figures share: reading results, writing figures, style, panels."""
