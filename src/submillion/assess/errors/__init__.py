"""Error analysis: confused classes, confident mistakes and accuracy by group of rows."""
