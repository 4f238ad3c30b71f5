"""From a stored run to HTML, Markdown, JSON and JUnit."""
