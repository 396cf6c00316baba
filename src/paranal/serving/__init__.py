"""What every service of a node does alike: who calls, HTTP, the journal, files that change."""
