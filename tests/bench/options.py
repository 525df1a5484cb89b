# SPDX-License-Identifier: BSD-2-Clause
"""The options of `run.sh`."""

import argparse
import os


def options(description):
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh", description=description)
    parser.add_argument("--quick", action="store_true", help="less of everything: five minutes, noisier")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of traffic (default 20, quick 5)")
    parser.add_argument("--seconds", type=float, metavar="S", help="of each sample (default 0.2)")
    parser.add_argument("--only", default="", metavar="PATTERN",
                        help="regular expression: the paths and plugins to measure, and what they are compared with; or"
                        " nic (a receiver of single frames), deny (denied packets), programs"
                        " (alone, and for each packet of real connections)")
    parser.add_argument("--against", metavar="BUILD", type=os.path.abspath,
                        help="with programs, for those with 65,536 flows live: the build to compare with, of another release"
                        " (tests/releases)")
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.rounds = args.rounds or (5 if args.quick else 20)
    args.seconds = args.seconds or 0.2
    args.runs = 20 if args.quick else 60
    args.build = os.path.abspath(args.build)
    return args
