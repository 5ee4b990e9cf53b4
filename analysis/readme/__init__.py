"""From committed summaries and records to Markdown: README.md and the pages of docs/findings."""
