"""Recomputes the metrics of dsi's reports from their run and qrels files with ir_measures, and compares.

    python check.py RUN/eval/DATASET-SPLIT.json…

Every row of a report names its files. Figures are means over the qrels files of a row: one a fold. A photo that asks for
captions has several right answers, and recall is then what ir_measures calls Success: whether any was found.
"""

import json
import sys
from pathlib import Path

import ir_measures
from ir_measures import RR, R, Success, nDCG

TOLERANCE = 1e-6
CUTOFFS = [1, 5, 10]


def theirs(run, qrels, recall):
    """One mean over the queries of each fold, then the mean over the folds."""
    measures = {f"R@{k}": recall @ k for k in CUTOFFS} | {"RR@10": RR @ 10, "nDCG@10": nDCG @ 10}
    run = list(ir_measures.read_trec_run(str(run)))
    folds = []
    for file in qrels:
        right = list(ir_measures.read_trec_qrels(str(file)))
        queries = {qrel.query_id for qrel in right}
        answers = [doc for doc in run if doc.query_id in queries]
        folds.append(ir_measures.calc_aggregate(measures.values(), right, answers))
    return {name: sum(fold[measure] for fold in folds) / len(folds) for name, measure in measures.items()}


def ours(row):
    recall = {f"R@{k}": row["recall"][str(k)] for k in CUTOFFS}
    return recall | {"RR@10": row["mrr10"], "nDCG@10": row["ndcg10"]}


def check(report):
    """The number of rows of one report, and those that differ, each with its largest difference."""
    rows = json.loads(report.read_text())["rows"]
    wrong = []
    for row in rows:
        name = " ".join(str(row[key]) for key in ["retriever", "stage", "query", "gallery"])
        files = row["files"]
        recall = Success if row["query"] == "image-to-caption" else R
        found = theirs(report.parent / files["run"], [report.parent / file for file in files["qrels"]], recall)
        difference = max(abs(found[key] - value) for key, value in ours(row).items())
        print(f"{report.name}  {name:45} largest difference {difference:.1e}")
        if not difference <= TOLERANCE:
            wrong.append(f"{report.name} {name}: {ours(row)} here, {found} by ir_measures")
    return len(rows), wrong


def main():
    reports = [Path(argument) for argument in sys.argv[1:]]
    if not reports:
        sys.exit("name at least one report: RUN/eval/DATASET-SPLIT.json")
    checked = [check(report) for report in reports]
    wrong = [line for _, lines in checked for line in lines]
    if wrong:
        sys.exit("these rows differ by more than 1e-6:\n  " + "\n  ".join(wrong))
    print(f"all {sum(count for count, _ in checked)} rows agree to {TOLERANCE}")


main()
