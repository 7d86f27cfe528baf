#!/bin/bash
# Trains every modality on every fold as one job array, then judges all of them in one report:
#     DATA=/shared/my_cohort OUT=/shared/runs bash submit.sh
# Words behind it are for every training, such as --image_size 224. Submitted again, it does what is left, with the manifest that is there.
# MGMT: how the command is called, such as "apptainer run --bind /shared mgmt_monai.sif".
# How much time and memory to ask for, a first fold shows: sacct -j JOB --format=JobID,Elapsed,MaxRSS
set -eu
export DATA OUT MGMT=${MGMT:-mgmt-monai} FOLDS=${FOLDS:-5} MODALITIES=${MODALITIES:-t1w t1wce t2w flair}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$OUT"
[ -e "$OUT/manifest.json" ] || $MGMT manifest build "$DATA" --out "$OUT/manifest.json"
$MGMT manifest split "$OUT/manifest.json" --folds "$FOLDS"
n=$(($(wc -w <<<"$MODALITIES") * FOLDS))
array=$(sbatch --parsable --array="0-$((n - 1))" "$here/train.sbatch" "$@")
sbatch --kill-on-invalid-dep=yes --dependency="afterok:$array" "$here/report.sbatch"
