"""What is drawn: figures, slopes and reports, read from results. Nothing here simulates."""
