<?php
// A PHP page for php-cgi behind a web server that speaks FastCGI.
//
//     ganger run examples/php/hello-php.toml
header('Content-Type: text/plain');
echo 'hello from PHP, worker ', getenv('GANGER_WORKER') ?: '-', ', pid ', getmypid(), "\n";
