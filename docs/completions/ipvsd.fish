complete -c ipvsd -s h -l help -d 'Print help'
complete -c ipvsd -s V -l version -d 'Print version'
