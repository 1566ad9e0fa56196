// nextflow run example.nf --input 'images/*.tif' --outdir results

include { BLINKCORE_PREDICT } from './main'

params.input  = 'images/*.tif'
params.outdir = 'results'

workflow {
    images = Channel
        .fromPath(params.input, checkIfExists: true)
        // With the folder, because images of several may have one name.
        .map { image -> [[id: "${image.parent.name}_${image.baseName}"], image] }

    BLINKCORE_PREDICT(images)

    tables = BLINKCORE_PREDICT.out.csv
        .mix(BLINKCORE_PREDICT.out.json)
        .map { _meta, table -> table }
        .collect()
    MERGE(tables)
    MERGE.out.counts.view { counts -> counts.text }
}

// All tables as one, and the counts of all images.
process MERGE {
    publishDir params.outdir, mode: 'copy'

    input:
    path tables, stageAs: 'tables/*'

    output:
    path 'spots.csv', emit: spots
    path 'spots.counts.csv', emit: counts
    path 'spots.json', emit: json

    script:
    """
    blinkcore merge tables -o spots.csv
    """
}
