"""What lies inside an archive, and the process that looks: each kind in small steps, within bounds."""
