"""What a release needs beside the package itself."""
