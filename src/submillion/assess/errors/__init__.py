"""Error analysis: confused classes, confident mistakes, and accuracy by groups of rows."""
