"""End-to-end and differential tests of Flowcell against the server it takes the place of."""
