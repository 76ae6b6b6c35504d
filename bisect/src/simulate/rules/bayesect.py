# Lets vmbisect ask git_bayesect (https://pypi.org/project/git_bayesect/) what it would do.
#
# Every line on standard input is answered with the next index to try, the likeliest index and its
# probability. Index 0 is the newest commit, as there. Lines are `start COUNT`, for COUNT commits,
# and `INDEX yes`, `INDEX no` or `INDEX skip`, for what a trial showed.
import sys

import git_bayesect
import numpy

bisector = None
print("ready", flush=True)
for line in sys.stdin:
    what, value = line.split()
    if what == "start":
        bisector = git_bayesect.Bisector(numpy.ones(int(value)))
    else:
        bisector.record(int(what), {"yes": True, "no": False, "skip": None}[value])
    likeliest = int(numpy.argmax(bisector.distribution))
    print(bisector.select(), likeliest, float(bisector.distribution[likeliest]), flush=True)
