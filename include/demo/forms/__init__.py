"""Forms of the generated deployment: what their documents hold, and which version a report was made with."""
