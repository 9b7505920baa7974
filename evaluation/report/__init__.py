"""The report: one document, shown as a page and as Markdown."""
