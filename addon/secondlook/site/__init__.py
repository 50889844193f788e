"""`secondlook.internal`: the pages of Second Look itself for whoever browses, by whichever front."""
