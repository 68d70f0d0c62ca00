"""What is made from the finished shots: reel, contact sheet, timelines and the review page."""
