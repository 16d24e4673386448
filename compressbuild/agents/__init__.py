"""For coding agents: an MCP server, whose every tool is a command of ``cbuild`` in a process of its own."""
