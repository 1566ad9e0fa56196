// nextflow run example.nf --input 'images/*.tif' --outdir results

include { BLINKCORE_PREDICT } from './main'

params.input  = 'images/*.tif'
params.outdir = 'results'
// The image of `docker build -f packaging/Dockerfile -t blinkcore .`, with -profile docker.
params.blinkcore_container = 'blinkcore'

workflow {
    images = Channel
        .fromPath(params.input, checkIfExists: true)
        // Images of several folders may have one name.
        .map { image -> [image.parent.name, image.baseName, image] }
        .groupTuple(by: 1)
        .flatMap { folders, name, files ->
            [folders, files].transpose().collect { folder, image ->
                [[id: files.size() > 1 ? "${folder}_${name}" : name], image]
            }
        }

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
