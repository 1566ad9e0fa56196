process BLINKCORE_PREDICT {
    tag "${meta.id}"
    label 'process_medium'

    conda "${moduleDir}/environment.yml"
    container "blinkcore" // of `docker build -f packaging/Dockerfile -t blinkcore .`

    input:
    tuple val(meta), path(image)

    output:
    tuple val(meta), path("${prefix}.csv"), emit: csv
    tuple val(meta), path("${prefix}.counts.csv"), emit: counts
    tuple val(meta), path("${prefix}.json"), emit: json
    path "versions.yml", emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    export OMP_NUM_THREADS=${task.cpus}

    blinkcore predict \\
        ${args} \\
        --output ${prefix}.csv \\
        ${image}

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        blinkcore: \$(blinkcore --version | sed 's/blinkcore //')
    END_VERSIONS
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.csv ${prefix}.counts.csv ${prefix}.json

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        blinkcore: \$(blinkcore --version | sed 's/blinkcore //')
    END_VERSIONS
    """
}
