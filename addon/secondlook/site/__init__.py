"""`secondlook.internal`: what Second Look itself has to say to whoever browses, by whichever front."""
