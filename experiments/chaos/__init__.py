"""`make chaos`: faults at random under load on a whole fabric, and whether anything was lost that could be saved."""
