"""What failures cost: each part ends or stands still under load, again and again."""
