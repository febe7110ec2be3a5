#!/usr/bin/env bash
# Prints the folder of Eigen's headers, for scripts that call a compiler themselves.
for folder in /opt/homebrew/include/eigen3 /usr/local/include/eigen3 /usr/include/eigen3; do
  [ -d "$folder" ] && { echo "$folder"; exit 0; }
done
echo "error: Eigen is not in a usual place" >&2
exit 1
